from __future__ import annotations

import pytest

from isogloss.errors import InputError, IsoglossError, MissingExtraError, UsageError, unknown


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known():
    error = unknown("aligner", "diagnal", ["model", "diagonal", "eflomal"], where="study.yaml, line 4")
    assert isinstance(error, UsageError)
    assert str(error) == (
        "study.yaml, line 4: unknown aligner 'diagnal'. Did you mean 'diagonal'? Known: diagonal, eflomal, model."
    )


def test_nothing_near_gives_no_hint():
    message = str(unknown("layer", 99, ["0", "1"]))
    assert "Did you mean" not in message
    assert message == "unknown layer '99'. Known: 0, 1."


def test_a_missing_extra_names_what_to_install():
    message = str(MissingExtraError("jieba", "zh", "Chinese segmentation"))
    assert message.startswith("Chinese segmentation needs the package 'jieba'")
    assert message.endswith("pip install 'isogloss[zh]'")


@pytest.mark.parametrize("kind", [UsageError, InputError, MissingExtraError])
def test_one_except_clause_catches_them_all(kind):
    assert issubclass(kind, IsoglossError)
