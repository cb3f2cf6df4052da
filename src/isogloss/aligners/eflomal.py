"""Alignment by eflomal, when it is installed (GPLv3, a separate program; extra ``eflomal``).

Östling and Tiedemann, "Efficient Word Alignment with Markov Chain Monte Carlo", PBML 106, 2016.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.aligners.protocol import Bitext, Directions, Links, as_links
from isogloss.arguments import checked
from isogloss.errors import IsoglossError, MissingExtraError


@checked
@dataclass(frozen=True)
class Eflomal:
    """eflomal with its own defaults.

    It samples from a random state that cannot be set: links differ a little from run to run, so a study
    made with it is reproducible only from its stored links.

    Attributes
    ----------
    lowercase : bool
        Compare words in lower case.
    """

    lowercase: bool = True

    name = "eflomal"

    def align(self, bitext: Bitext) -> Directions:
        """Run both directions through temporary files.

        Raises
        ------
        MissingExtraError
            If eflomal is not installed.
        IsoglossError
            If it fails.
        """
        try:
            import eflomal
        except ImportError:
            raise MissingExtraError("eflomal", "eflomal", "The aligner 'eflomal'") from None
        with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
            forward, backward = Path(folder, "forward"), Path(folder, "backward")
            try:
                eflomal.Aligner().align(
                    self._lines(bitext.source_words),
                    self._lines(bitext.target_words),
                    links_filename_fwd=str(forward),
                    links_filename_rev=str(backward),
                )
            except Exception as error:  # the package raises many kinds, from its files and its program
                raise IsoglossError(f"eflomal failed: {error}. Try the aligner 'diagonal'.") from error
            return Directions(_read(forward, len(bitext)), _read(backward, len(bitext)))

    def _lines(self, sentences: Sequence[list[str]]) -> Iterator[str]:
        for words in sentences:
            line = " ".join(re.sub(r"\s", "_", word) for word in words)
            yield (line.lower() if self.lowercase else line) + "\n"


def _read(path: Path, n_pairs: int) -> Links:
    lines = path.read_text(encoding="ascii").splitlines()
    if len(lines) != n_pairs:
        raise IsoglossError(f"eflomal wrote {len(lines)} lines of links for {n_pairs} sentence pairs.")
    links = []
    for pair, line in enumerate(lines):
        for i, j in (link.split("-") for link in line.split()):
            links.append((pair, int(i), int(j)))
    return as_links(links)
