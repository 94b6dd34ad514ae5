"""The peer of `startup`: the least that our page could be, four empty tabs in Gradio beside an imported torch."""

import gradio as gr
import torch

with gr.Blocks(analytics_enabled=False) as demo:
    for name in ("Explore", "Sample", "Morph", "Train"):
        with gr.Tab(name):
            gr.Markdown(f"torch {torch.__version__}", elem_id=name.lower())

demo.launch(ssr_mode=False)
