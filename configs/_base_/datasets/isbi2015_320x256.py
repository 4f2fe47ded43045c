# Set ISBI2015_ROOT to the folder that holds RawImage and AnnotationsByMD.
data_root = "{{$ISBI2015_ROOT:data/isbi2015}}"
input_size = (320, 256)
# Twice the input: augmentation keeps all detail, and a JPEG is decoded at reduced scale.
load = [dict(type="LoadImage", size=(640, 512), channels=1), dict(type="Resize", size=input_size)]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=20),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="Isbi2015Cephalogram", data_root=data_root, annotator="mean", image_cache=dict(mode="ram")
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=train_pipeline),
)
# There is no validation part: Test1 is only watched during training, and the last epoch is what counts.
val_dataloader = dict(
    batch_size=6,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test1", pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
test_evaluator = val_evaluator
# The challenge itself shows twenty films of its training part in its first test, see docs/evaluation.md.
allow_leaks = True
