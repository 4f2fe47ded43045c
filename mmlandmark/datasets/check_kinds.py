"""The kinds of fault that a dataset check reports: severity, meaning and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        severity: ``error``: training on it is wrong; ``warning``: worth a look; ``note``: good to know.
        meaning: What is wrong, in one sentence.
        advice: What to do, without a full stop.
    """

    severity: Severity
    meaning: str
    advice: str


KINDS: dict[str, Kind] = {
    "nothing annotated": Kind(
        "error",
        "No sample of the training part has a single landmark, so there is nothing to learn.",
        "check the annotation file and the names of its columns or keys",
    ),
    "landmark never annotated": Kind(
        "error",
        "A landmark is annotated in no sample of the training part, so it cannot be learned.",
        "annotate it, or exclude it with landmarks=[...]",
    ),
    "rarely annotated": Kind(
        "note",
        "A landmark is annotated in very few samples of the training part.",
        "annotate more of them, or exclude it with landmarks=[...]",
    ),
    "placeholder": Kind(
        "error",
        "A placeholder such as (0, 0) or (-1, -1) instead of a missing landmark; it would be learned as a "
        "position.",
        "write null (JSON) or an empty cell (CSV) instead",
    ),
    "fractions": Kind(
        "error",
        "All coordinates of a sample lie between 0 and 1: fractions of the image, not pixels.",
        "multiply x by the width and y by the height",
    ),
    "far outside": Kind(
        "error",
        "A point lies far outside of its image: units, order of coordinates or the image are wrong.",
        "check the units, the order of x and y, and that the annotation belongs to this image",
    ),
    "broken image": Kind(
        "error",
        "An image is missing or cannot be read.",
        "check data_root and image_dir (--images of mmlandmark plan), restore the file, or take the sample "
        "out of the list",
    ),
    "sample leak": Kind("error", "One sample is in several splits.", "keep it in one split only"),
    "group leak": Kind(
        "error",
        "Samples of one group (patient) are in several splits.",
        "split by group: mmlandmark split, or num_folds with groups",
    ),
    "image leak": Kind(
        "error",
        "One image file, or a copy of it with the same bytes, is in several splits.",
        "keep it in one split, or give both samples one group",
    ),
    "image copy leak": Kind(
        "error",
        "The same picture is in several splits, saved in another format, quality or size.",
        "keep it in one split, or give both samples one group",
    ),
    "point outside": Kind(
        "warning", "A point lies just outside of its image.", "move it, or mark it as missing"
    ),
    "points too close": Kind("warning", "Two landmarks have one position.", "check which one is misplaced"),
    "left-right swap": Kind(
        "warning",
        "A left and a right landmark are the other way round than in other samples.",
        "exchange the two points",
    ),
    "swapped landmarks": Kind(
        "warning",
        "The shape fits much better when two landmarks change places.",
        "exchange the two points",
    ),
    "order break": Kind(
        "warning",
        "The step from a landmark to the next goes the other way than in other samples.",
        "check whether the two are exchanged or one is misplaced",
    ),
    "mirrored shape": Kind(
        "warning",
        "The shape is the mirror image of the others.",
        "look at the picture: if the points lie on the anatomy, two landmarks, or left and right, are "
        "exchanged; if they lie beside it, y counts from the bottom, x and y are exchanged, or the image "
        "was mirrored",
    ),
    "y from the bottom": Kind(
        "warning",
        "y seems to be counted from the bottom of the image; it must be counted from the top.",
        "set y_up=True of the dataset (without a config: --options y_up=True), or False if it is on; "
        "if this concerns only some samples, replace y by height - 1 - y",
    ),
    "x and y exchanged": Kind(
        "warning",
        "x and y seem to be exchanged (rows and columns).",
        "exchange the two numbers of each point",
    ),
    "shape outlier": Kind(
        "warning",
        "A shape is unlike the others.",
        "look at the picture: shuffled order, the annotation of another image, or unusual anatomy",
    ),
    "landmark outlier": Kind(
        "warning",
        "A landmark is far from where the other landmarks of its sample predict it.",
        "look at the picture and move the point, unless the anatomy is unusual",
    ),
    "position outlier": Kind(
        "warning",
        "The position, rotation or size of the whole shape in its image is unlike the others.",
        "check that the image was not cropped or resized after it was annotated",
    ),
    "image does not fit": Kind(
        "warning",
        "Around its points, the image does not look like the others.",
        "check whether the annotation belongs to another image",
    ),
    "spacing": Kind("warning", "The pixel spacing is missing or odd.", "check the unit (mm per pixel)"),
    "sides of the patient": Kind(
        "warning",
        "Landmarks of volumes lie on the other side of the patient than their names say.",
        "check the frame of the points: LPS and RAS differ in the signs of x and y; voxels count along the "
        "axes as stored",
    ),
    "axes of a volume": Kind(
        "warning",
        "The points of a volume fit the others when axes are exchanged or mirrored.",
        "check that its points are in the frame of its file: LPS or RAS, voxels as stored, order x, y, z",
    ),
    "mixed orientation": Kind(
        "note",
        "The axes of a volume are stored in another order or direction than those of most others.",
        "nothing, if its points are in mm or in voxels as stored; look at its picture if another program "
        "wrote them",
    ),
    "same landmarks": Kind(
        "warning",
        "Two samples have identical landmarks.",
        "check whether an annotation was copied to another image",
    ),
    "same image": Kind("warning", "Two samples show the same image file.", "keep one of them"),
    "image copy": Kind(
        "warning",
        "Two samples show the same picture, saved in another format, quality or size.",
        "keep one of them, or give both one group",
    ),
    "pixels not finite": Kind(
        "error",
        "An image has pixels that are NaN or infinite.",
        "repair the image, or replace them with LoadImage(fill_value=...)",
    ),
    "constant image": Kind("warning", "All pixels of an image are equal.", "look at the file"),
    "small range": Kind(
        "warning",
        "An image uses an eighth or less of the range from black to white, so noise dominates.",
        "set the value of white: LoadImage(bits=...) or LoadImage(value_range=...)",
    ),
    "large range": Kind(
        "warning",
        "The values of an image are far outside the range from black to white.",
        "set their range: LoadImage(value_range=...), or add a NormalizeIntensity",
    ),
    "orientation tag": Kind(
        "warning",
        "The file asks to rotate or mirror the image, as is done; landmarks refer to the pixels as stored.",
        "if the landmarks were marked in a viewer that rotates it, store the image upright",
    ),
    "stretched image": Kind(
        "warning",
        "The pipeline changes the proportions of an image by more than 1.5.",
        "set keep_aspect=True in LoadImage and Resize, or sizes in the proportions of the images",
    ),
    "mixed bit depth": Kind(
        "note", "Images have different bit depths.", "check that white means the same in all of them"
    ),
    "misnamed file": Kind(
        "note", "The suffix of an image does not match its content, which is what is read.", "rename it"
    ),
    "several pages": Kind(
        "warning", "Pages of a TIFF differ, so only the first one is read.", "store one image per file"
    ),
    "malformed spacing": Kind(
        "note", "The spacing in the header of an image cannot be read.", "give it in the annotation file"
    ),
    "no directions": Kind(
        "note",
        "The file of a volume states no orientation, so one is taken for granted.",
        "store it in the file; nothing is to do if all volumes are stored alike, with points in voxels",
    ),
}
