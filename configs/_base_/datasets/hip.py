# Hip radiographs with ten landmarks, five per side; each half is an image of its own. Set HIP_ROOT to the
# folder with your images and all.json (docs/datasets.md), and write the lists with mmlandmark split.
# The first five landmarks lie in the left half of the image; the last five mirror them in the same order.
data_root = "{{$HIP_ROOT:data/hip}}"
lists = "splits_6-2-2_seed0"
pipeline = [
    dict(type="LoadImage", size=(1024, 1024), channels=1),
    dict(type="TakeHalf"),
    dict(type="Resize", size=(512, 256)),
    dict(type="Resample"),
    dict(type="PackInputs"),
]
dataset = dict(
    type="HalfImageDataset",
    ann_file="all.json",
    data_root=data_root,
    left=[0, 1, 2, 3, 4],
    right=[5, 6, 7, 8, 9],
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
