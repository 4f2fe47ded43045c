_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas.py",
    "../_base_/schedules/adam_200epochs.py",
    "../_base_/self_training_published.py",
]

train_dataloader = dict(batch_size=4, dataset=dict(pipeline=[*_base_.load, *_base_.paper_augmented]))
# The modified U-Net: a dilated block in place of every two convolutions.
model = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1, mean=0.5, std=0.5, size_divisor=64),
    backbone=dict(
        type="UNet",
        in_channels=1,
        widths=(64, 128, 256, 512, 1024),
        dilated=True,
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="ReLU"),
    ),
    head=dict(_base_.integral_head, num_landmarks=37),
)
# The 490 images of the atlas without a row in all.csv.
others = dict(type="ImageFolderDataset", image_dir=_base_.data_root)
loader = dict(_base_.self_train["train_dataloader"], unlabelled=others)
stages = [_base_.pre_train, dict(_base_.self_train, train_dataloader=loader), _base_.fine_tune]
