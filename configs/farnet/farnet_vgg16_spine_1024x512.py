_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/spine_aasce2019_1024x512.py",
    "../_base_/models/farnet_vgg16.py",
    "../_base_/schedules/adam_multistep.py",
]

model = dict(head=dict(num_landmarks=68))
# VGG takes longer (section 4.3 of the paper).
train_cfg = dict(max_epochs=900)
param_scheduler = [dict(type="MultiStepLR", milestones=[600], gamma=0.1, by_epoch=True)]
