"""How results look: one card with renderers for text (80 columns), HTML and Markdown."""
