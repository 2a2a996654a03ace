"""What counts as a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from verbatim import _verbatim


@dataclass(frozen=True)
class Config:
    """What counts as a copy; the defaults are those of `verbatim dedup`, whose flags have the same names.

    Of equal documents, and of similar ones, the first stays: the one with the smallest number.

    Raises ValueError for what cannot be, such as a threshold of 2.
    """

    exact: bool = True
    """Whether texts that are equal after normalisation are copies, before others are compared."""
    threshold: float = 0.8
    """Jaccard similarity of sets of n-grams from which two texts are copies, 0.01 to 1."""
    recall: float = 0.99
    """Chance that a pair right at the threshold is found, above 0 and below 1."""
    ngram: int = 5
    """Units in an n-gram, 1 to 1024."""
    unit: str = "word"
    """What an n-gram is made of: `word`, `char` or `byte`."""
    words: str = "unicode"
    """What a word is: `unicode` (Annex 29) or `whitespace`."""
    normalize: tuple[str, ...] = ("nfc", "casefold", "whitespace")
    """Steps before texts are compared: nfc nfkc casefold whitespace punctuation digits diacritics."""
    bands: Optional[int] = None
    """Bands of a signature, with `rows`, in place of those that reach the recall."""
    rows: Optional[int] = None
    """Rows in a band."""
    edit_similarity: Optional[float] = None
    """What 1 - edits / units of the longer text must reach as well."""
    seed: int = 1
    """Seed of the hash functions."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "normalize", tuple(self.normalize))
        _verbatim.check(self)
