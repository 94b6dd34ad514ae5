"""The look: Gradio's theme, and the variables and classes that the tabs' own styles build on. Every text keeps 4.5 to 1."""

import inspect
import re
from pathlib import Path

import gradio as gr

COMPONENTS = Path(__file__).with_name("components")
RUNTIME = Path(__file__).parents[1] / "assets" / "web"  # onnxruntime-web

IMPORTED = re.compile(r'from "\./(\w+\.js)"')

# name: (light, dark). accent moves and outlines; accent-fill carries accent-ink; accent-text is the accent as a word's colour.
COLOURS = {
    "paper": ("#faf7f1", "#15131f"),
    "card": ("#ffffff", "#1f1c2c"),
    "ink": ("#221d33", "#f3eff9"),
    "soft": ("#6a6378", "#a69fba"),
    "line": ("#e8e2d8", "#322d45"),
    "edge": ("#8f8899", "#7a7391"),  # of controls that need to be seen as such: 3 to 1
    "accent": ("#e2553a", "#ff7a5c"),
    "accent-fill": ("#c8432a", "#ff7a5c"),
    "accent-ink": ("#ffffff", "#1b1220"),
    "accent-soft": ("#fde7e0", "#43251f"),
    "accent-text": ("#b3371d", "#ff8f75"),
    "ok": ("#2c7a55", "#5fc496"),
    "shadow": ("0 1px 2px #0000000a, 0 8px 28px #2b1f4a12", "none"),
}


def variables(column: int) -> str:
    """The colours as CSS custom properties: column 0 for light, 1 for dark."""
    return "".join(f"--lp-{name}:{pair[column]};" for name, pair in COLOURS.items())


def _theme() -> gr.themes.Base:
    font = (gr.themes.Font("Lexend"), gr.themes.Font("system-ui"), gr.themes.Font("sans-serif"))
    names = {
        "body_text_color_subdued": "soft",
        "background_fill_primary": "card", "background_fill_secondary": "paper",
        "block_background_fill": "card", "block_border_color": "line", "block_label_text_color": "soft",
        "block_title_text_color": "ink", "block_info_text_color": "soft",
        "border_color_primary": "line", "border_color_accent": "accent",
        "color_accent": "accent", "color_accent_soft": "accent-soft", "slider_color": "accent",
        "link_text_color": "accent-text", "link_text_color_hover": "ink", "link_text_color_visited": "accent-text",
        "link_text_color_active": "accent-text",
        "button_primary_background_fill": "accent-fill", "button_primary_background_fill_hover": "accent-fill",
        "button_primary_border_color": "accent-fill", "button_primary_border_color_hover": "accent-fill",
        "button_primary_text_color": "accent-ink", "button_primary_text_color_hover": "accent-ink",
        "button_secondary_background_fill": "card", "button_secondary_background_fill_hover": "paper",
        "button_secondary_border_color": "line", "button_secondary_border_color_hover": "edge",
        "button_secondary_text_color": "ink", "button_secondary_text_color_hover": "ink",
        "input_background_fill": "card", "input_border_color": "line", "input_border_color_focus": "accent",
        "input_placeholder_color": "soft",
        "checkbox_background_color": "card", "checkbox_background_color_selected": "accent-fill",
        "checkbox_border_color": "edge", "checkbox_border_color_selected": "accent-fill",
        "checkbox_label_background_fill": "card", "checkbox_label_background_fill_hover": "paper",
        "checkbox_label_background_fill_selected": "accent-soft", "checkbox_label_border_color": "line",
        "checkbox_label_border_color_selected": "accent", "checkbox_label_text_color": "ink",
        "checkbox_label_text_color_selected": "ink",
    }  # fmt: skip
    known = inspect.signature(gr.themes.Base.set).parameters  # not every name has a dark twin
    colours: dict[str, str] = {}
    for name, colour in names.items():
        colours |= {key: f"var(--lp-{colour})" for key in (name, f"{name}_dark") if key in known}
    for name, colour in {"body_background_fill": "paper", "body_text_color": "ink"}.items():
        colours[name], colours[f"{name}_dark"] = COLOURS[
            colour
        ]  # as values: they are painted before the styles have come
    plain = {
        "block_border_width": "0px", "block_shadow": "none", "block_radius": "13px", "block_padding": "0px",
        "block_label_background_fill": "transparent", "block_label_background_fill_dark": "transparent",
        "block_title_text_weight": "500", "block_title_text_size": "14px",
        "button_large_radius": "12px", "button_medium_radius": "12px", "button_small_radius": "12px",
        "button_large_text_size": "13.5px", "button_medium_text_size": "13.5px",
        "button_large_padding": "9px 14px", "button_medium_padding": "8px 13px",
        "button_large_text_weight": "400", "button_medium_text_weight": "400", "button_border_width": "1px",
        "button_primary_shadow": "none", "button_secondary_shadow": "none",
        "input_radius": "12px", "input_shadow": "none",
        "layout_gap": "16px", "form_gap_width": "0px",
    }  # fmt: skip
    mono = (gr.themes.Font("ui-monospace"), gr.themes.Font("monospace"))
    return gr.themes.Base(font=font, font_mono=mono, text_size="md", radius_size="lg").set(**colours, **plain)


def _url(name: str) -> str:
    """Where the page finds a file of components/: relative to the page's base, so behind any root path."""
    return f"gradio_api/file={(COMPONENTS / name).as_posix()}"


def reachable(*names: str) -> list[str]:
    """The modules of components/ that these import, and what those import, with themselves."""
    found, left = set(), set(names)
    while left:
        found |= left
        left = {other for name in left for other in IMPORTED.findall((COMPONENTS / name).read_text(encoding="utf-8"))}
        left -= found
    return sorted(found)


MOUNT = """(async () => {{
  const root = new URL(window.gradio_config?.root || "/", location.href).pathname.replace(/\\/$/, "");
  const {{ default: mount }} = await import(`${{location.origin}}${{root}}/{module}`);
  mount({{ element, props, server, upload, watch }});
}})();"""


def mounted(name: str) -> str:
    """The js_on_load of a gr.HTML whose script is a module of components/ that exports a function of what Gradio gives."""
    return MOUNT.format(module=_url(name))


# Gradio's own Lexend is the Vietnamese subset of the font, with no Latin letters in it; so it comes from here.
FONT_FILE = _url("lexend.woff2")
FONT = f'@font-face{{font-family:Lexend;src:url("{FONT_FILE}") format("woff2");font-weight:100 900;font-display:swap}}'
PAGE = "gradio_page.js"
MODULES = reachable(PAGE)

theme = _theme()
css = f"{FONT}\n:root{{color-scheme:light;{variables(0)}}}\n.dark{{color-scheme:dark;{variables(1)}}}\n"
css_paths = sorted(COMPONENTS.glob("*.css"))
# Gradio names the browser's language as the page's, but the words here are English, and a screen reader goes by the name.
ENGLISH = """<script>{ const page = document.documentElement, name = () => page.lang === "en" || (page.lang = "en");
new MutationObserver(name).observe(page, { attributeFilter: ["lang"] }); name(); }</script>"""
# Fetched beside Gradio's own files, not one after another when they are called for.
head = f'{ENGLISH}<link rel="preload" href="{FONT_FILE}" as="font" type="font/woff2" crossorigin>' + "".join(
    f'<link rel="modulepreload" href="{_url(name)}">' for name in MODULES
)
