"""From which end of an image y counts: what the format says, and what the images say."""

from __future__ import annotations

from mmlandmark.planning.choice import Choice, OpenQuestion

CERTAIN = 4.0  # standard errors


def choose_y_direction(convention: str, evidence: float | None, given: bool | None = None) -> Choice:
    """Decide whether y counts upwards from the bottom row.

    Args:
        convention: Where the format puts y = 0: ``top``, ``bottom`` or ``unknown``.
        evidence: Standard errors by which the images fit points better that count from the bottom; negative
            for the top; None without enough images or landmarks.
        given: The user's answer, ``--y-up`` or ``--y-down``.

    Raises:
        OpenQuestion: Format and images contradict each other; or the file is a TPS, which programs write
            either way, and the images do not decide.
    """
    sure = evidence is not None and abs(evidence) > CERTAIN
    shown = "" if evidence is None else f" ({abs(evidence):.1f} standard errors)"
    if given is not None:
        return Choice(given, "you said so")
    if sure:
        assert evidence is not None
        upwards = evidence > 0
        if convention == "top" and upwards:
            raise OpenQuestion(
                f"y: this format counts y from the top, but points and images fit together if it counts from "
                f"the bottom{shown}. Which is right? --y-up: from the bottom; --y-down: from the top"
            )
        agrees = "" if convention == "unknown" else ", as the format says"
        if convention == "bottom" and not upwards:
            agrees = ", although most programs write TPS from the bottom"
        return Choice(upwards, f"points and images fit together this way{shown}{agrees}")
    if convention == "bottom":
        raise OpenQuestion(
            "y: programs write TPS files both ways, and the images do not show which"
            f"{shown or ': it takes ten images with three or more landmarks'}. --y-up: y counts from the "
            "bottom row, as tpsDig writes it; --y-down: from the top"
        )
    if convention == "unknown":
        return Choice(False, f"the usual way; the images do not contradict it{shown}. Else: --y-up")
    return Choice(False, f"the format says so; the images do not contradict it{shown}")
