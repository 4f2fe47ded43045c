"""The config of a one-shot detection is Python that says what was chosen."""

import pytest

from mmlandmark.planning.choice import Choice
from mmlandmark.planning.one_shot_text import one_shot_text

CHOICES = dict(
    images=Choice(12, "12 images"),
    landmarks=Choice(5, "as many"),
    unit=Choice(dict(unit="px", radii=[1, 2]), "pixels"),
    channels=Choice(3, "colours"),
    values=Choice(dict(bits=12), "12 bits"),
    contrast=Choice(None, "as it is"),
    aspect=Choice(True, "padded"),
    border=Choice("replicate", "bright"),
    augmentation=Choice(dict(rotation=5, scale=0.1, shift=0.1, mirror=False), "some"),
    workers=Choice(0, "none"),
    start=Choice(False, "random"),
    normalisation=Choice(dict(mean=0.3, std=0.2), "by the images"),
    selector=Choice(dict(type="KeepAll"), "all"),
    labellers=Choice(1, "one"),
    levels=Choice(4, "four"),
    ssl=Choice(17, "time"),
    student=Choice(3, "time"),
    size=Choice([96, 64], "small"),
    loaded=Choice([192, 128], "twice"),
    cache=Choice(None, "none"),
)
FOLDER = dict(type="ImageFolderDataset", image_dir="films")


class Base:
    """What the text takes from its bases."""

    one_cycle, ema = dict(type="OneCycleLR"), dict(type="EMAHook")


def variables(text):
    """Return what a text defines behind its bases."""
    compile(text, "config.py", "exec")
    found: dict = {"_base_": Base}
    exec(text[text.index("\nload = [") :], found)
    return found


@pytest.mark.parametrize("known", [None, dict(type="LandmarkDataset", ann_file="some.json")])
def test_the_text_has_all_choices(known):
    text = one_shot_text("a title", CHOICES, FOLDER, known)
    found = variables(text)
    assert text.startswith("# A title; all reasons are in plan.json.")
    assert found["load"][0] == dict(type="LoadImage", size=(192, 128), keep_aspect=True, channels=3, bits=12)
    assert found["test_dataloader"]["dataset"]["ann_file"] == ("some.json" if known else "template.json")
    assert found["images"]["image_dir"] == "films"
    assert found["images"]["labelled"]["ann_file"] == "template.json"
    ssl, student = found["stages"]
    assert ssl == dict(name="ssl")
    assert (found["train_cfg"]["max_epochs"], student["train_cfg"]["max_epochs"]) == (17, 3)
    assert "init_cfg" not in found["encoder"]
    assert found["labels"]["labeller"] == "run:ssl:last"
    (hook,) = found["custom_hooks"]
    assert hook["template"]["times"] == found["model"]["head"]["num_templates"] == 16
    steps = [step["type"] for step in hook["template"]["dataset"]["pipeline"]]
    assert steps == ["LoadImage", "Resize", "RandomAffine", "Resample", "PackInputs"]
    assert student["custom_hooks"] == [found["labels"], Base.ema]
    assert student["model"]["head"]["num_landmarks"] == found["model"]["head"]["num_landmarks"] == 5


def test_three_may_label():
    choices = dict(CHOICES, labellers=Choice(3, "three"), levels=Choice(5, "five"))
    found = variables(one_shot_text("a title", choices, FOLDER, None))
    *labellers, student = found["stages"]
    assert [stage["name"] for stage in labellers] == ["encoder", "ssl_point", "ssl"]
    assert [*found["labels"]["labeller"]] == [f"run:{stage['name']}:last" for stage in labellers]
    encoder, point, _ = labellers
    assert encoder["optim_wrapper"]["optimizer"]["lr"] == 0
    assert point["model"]["patches"]["points"] == 1
    assert student["custom_hooks"][0] == found["labels"]
    assert len(found["model"]["backbone"]["out_indices"]) == len(found["model"]["neck"]["widths"]) + 1 == 5
