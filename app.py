"""Builds the page and launches it."""

from ui import page

demo = page.build()

if __name__ == "__main__":
    demo.launch(**page.LAUNCH)
