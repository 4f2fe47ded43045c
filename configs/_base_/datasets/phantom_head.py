# Generated CT of heads, some of their landmarks absent: mmlandmark phantoms --kind head --num-train 80
# --num-val 10 --num-test 40 --missing 0.05 --out $PHANTOM_HEAD_ROOT
data_root = "{{$PHANTOM_HEAD_ROOT:data/phantom_head}}"
load = [
    dict(type="LoadImage", channels=1, value_range=(-1000, 2000)),  # Hounsfield units
    dict(type="ResampleSpacing", spacing=5),  # mm
    dict(type="CenterCrop", size=(56, 56, 48)),
]
augmented = [
    dict(type="RandomFlip"),
    dict(type="RandomAffine", rotation=15, scale=0.1, shift=0.08),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.03, contrast=0.1),
    dict(type="RandomNoise", std=(0.0, 0.02)),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="LandmarkDataset",
    data_root=data_root,
    ann_file="annotations.json",
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=[*load, *augmented]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="val", pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(dataset, split="test", pipeline=[*load, *plain], test_mode=True)
)
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(1, 2, 4))
test_evaluator = [val_evaluator, dict(type="MeasureMetric"), dict(type="PresenceMetric")]
