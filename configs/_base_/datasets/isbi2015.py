# ISBI 2015 cephalograms, the parts of the challenge. Set ISBI2015_ROOT to the folder with RawImage and
# AnnotationsByMD. For another input size, a leaf defines `load` and puts it before `augmented` or `plain`.
data_root = "{{$ISBI2015_ROOT:data/isbi2015}}"
# Loaded at twice the input size: augmentation keeps all detail, and a JPEG is decoded at reduced scale.
load = [dict(type="LoadImage", size=(640, 512), channels=1), dict(type="Resize", size=(320, 256))]
augmented = [
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=20 / 256),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="Isbi2015Cephalogram", data_root=data_root, annotator="mean", image_cache=dict(mode="ram")
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=[*load, *augmented]),
)
# The challenge has no validation part. Test1 is evaluated during training but selects no checkpoint: the last
# epoch is reported.
val_dataloader = dict(
    batch_size=6,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test1", pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
test_evaluator = val_evaluator
# Twenty films of the challenge's training part are also in Test1, see docs/evaluation.md.
allow_leaks = True
