"""One report from one application: pure, so that both contracts give the same. The real one asks a model."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[a-z]{3,}")
_FILLER = {"and", "the", "for", "with", "our", "you", "are", "who", "has", "have", "from", "that", "this", "will"}


def value_proposition(curriculum: str, advertisement: str) -> dict[str, object]:
    """
    What a candidate and a job have in common, strongest first, and how much of what is asked is met, 0..1.

    >>> value_proposition("Python and SQL", "We need Python")["matches"]
    ['python']
    """
    offered, asked = _words(curriculum), _words(advertisement)
    common = sorted(set(offered) & set(asked), key=lambda word: (-asked[word], word))
    met = sum(asked[word] for word in common) / (sum(asked.values()) or 1)
    return {"matches": common[:10], "metRatio": round(met, 3)}


def _words(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text.lower()) if word not in _FILLER)
