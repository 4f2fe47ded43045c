# Generated lateral cephalograms: mmlandmark phantoms --kind ceph --num-val 20 --out $PHANTOM_ROOT
data_root = "{{$PHANTOM_ROOT:data/phantom_ceph}}"
load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
augmented = [
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=10 / 128),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.7, 1.4)),
    dict(type="RandomNoise", std=(0.0, 0.03)),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="LandmarkDataset",
    data_root=data_root,
    ann_file="annotations.json",
    image_cache=dict(mode="ram", max_gb=1),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=[*load, *augmented]),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="val", pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(dataset, split="test", pipeline=[*load, *plain], test_mode=True)
)
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
test_evaluator = val_evaluator
