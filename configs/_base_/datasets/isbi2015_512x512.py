# All 400 films in parts of 6:2:2 as in FSF-LD, by lists that are shipped; set ISBI2015_ROOT to the folder
# that holds RawImage and AnnotationsByMD.
data_root = "{{$ISBI2015_ROOT:data/isbi2015}}"
lists = "mmlandmark::fsf_ld/splits/isbi2015"
pipeline = [
    dict(type="LoadImage", size=(512, 512), channels=1),
    dict(type="Resize", size=(512, 512)),
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
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, ids=f"{lists}/train.txt"),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, ids=f"{lists}/test1.txt", test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
test_evaluator = val_evaluator
