_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/schedules/adam_200epochs.py",
    "../_base_/self_training_published.py",
]

load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
loader = dict(batch_size=4, num_workers=2, persistent_workers=True)
train_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.paper_augmented]))
val_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.plain]))
# Both parts of the challenge, 250 films.
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader["dataset"], split="test"))
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1, mean=0.5, std=0.5, size_divisor=16),
    backbone=dict(
        type="UNet",
        in_channels=1,
        widths=(64, 128, 256, 512, 1024),
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="ReLU"),
    ),
    head=dict(_base_.integral_head, num_landmarks=19),
)
# Films without annotation; mm are those of the annotated ones.
others = dict(type="ImageFolderDataset", image_dir="{{$UNLABELLED_ROOT:data/unlabelled}}", spacing=0.1)
loader = dict(_base_.self_train["train_dataloader"], unlabelled=others)
stages = [_base_.pre_train, dict(_base_.self_train, train_dataloader=loader), _base_.fine_tune]
