_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/head_cbct.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adam_200epochs.py",
    "../_base_/self_training_published.py",
]

train_dataloader = dict(dataset=dict(pipeline=[*_base_.load, *_base_.paper_augmented]))
model = dict(
    data_preprocessor=dict(mean=0.1, std=0.15),
    head=dict(_base_.integral_head, _delete_=True, num_landmarks=33),
)
others = dict(split="unlabelled")
loader = dict(_base_.self_train["train_dataloader"], unlabelled=others)
stages = [_base_.pre_train, dict(_base_.self_train, train_dataloader=loader), _base_.fine_tune]
