# Set ISBI2015_ROOT to the folder that holds RawImage and AnnotationsByMD. No augmentation, one image a batch:
# as FARNet.
data_root = "{{$ISBI2015_ROOT:data/isbi2015}}"
pipeline = [
    dict(type="LoadImage", size=(800, 640), channels=1),
    dict(type="Resize", size=(800, 640)),
    dict(type="Resample"),
    dict(type="PackInputs"),
]
dataset = dict(
    type="Isbi2015Cephalogram",
    data_root=data_root,
    annotator="mean",
    image_cache=dict(mode="ram"),
    pipeline=pipeline,
)
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test1", test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
test_evaluator = val_evaluator
# The challenge itself shows twenty films of its training part in its first test, see docs/evaluation.md.
allow_leaks = True
