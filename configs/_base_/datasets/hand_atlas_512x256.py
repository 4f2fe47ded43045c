# Parts of 6:2:2 as in FSF-LD, by lists that are shipped; set HAND_ATLAS_ROOT to the folder that holds the
# images and setup/all.csv. Height and width are scaled apart.
data_root = "{{$HAND_ATLAS_ROOT:data/hand_atlas}}"
lists = "mmlandmark::fsf_ld/splits/hand_atlas"
pipeline = [
    dict(type="LoadImage", size=(512, 256), channels=1),
    dict(type="Resize", size=(512, 256)),
    dict(type="Resample"),
    dict(type="PackInputs"),
]
dataset = dict(type="DigitalHandAtlas", data_root=data_root, image_cache=dict(mode="ram"), pipeline=pipeline)
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
# Publications take the wrist from landmarks 0 and 4 or from 1 and 5; both are reported.
val_evaluator = [
    dict(type="LandmarkMetric", reference=dict(pair=(0, 4), mm=50.0), radii=(2, 2.5, 3, 4)),
    dict(type="LandmarkMetric", reference=dict(pair=(1, 5), mm=50.0), radii=(2, 2.5, 3, 4), prefix="pair15"),
]
test_evaluator = val_evaluator
