"""Markdown extension: `$...$` and `$$...$$`, as GitHub reads them, become MathML.

The formulas are made when the site is built, so that a page needs no script to show them.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

DISPLAY = r"\$\$(.+?)\$\$"
FUNCTION = re.compile(r"(<mi>(?:log|exp|max)</mi>)(?=<m(?:i|sub|n|sup)\b)")
"""A function's name before what it is applied to: TeX sets it apart, the converter does not."""
INLINE = r"(?<![\\\w$])\$(?=\S)([^$]+?)(?<=\S)\$(?![\w$])"


class Formula(InlineProcessor):
    """One pair of dollars."""

    def __init__(self, pattern: str, md: Markdown, display: str) -> None:
        super().__init__(pattern, md)
        self.display = display

    def handleMatch(  # type: ignore[override]  # noqa: N802
        self, m: re.Match[str], data: str
    ) -> tuple[str | Element, int, int]:
        formula = FUNCTION.sub(r'\1<mspace width="0.17em" />', convert(m[1], display=self.display))
        return self.md.htmlStash.store(formula), m.start(0), m.end(0)


class Formulas(Extension):
    """Registers both kinds before Markdown's own escapes, which would take backslashes away."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.inlinePatterns.register(Formula(DISPLAY, md, "block"), "formula-display", 186)
        md.inlinePatterns.register(Formula(INLINE, md, "inline"), "formula-inline", 185)


def makeExtension(**_: object) -> Extension:  # noqa: N802
    return Formulas()
