_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015_800x640.py",
    "../_base_/models/farnet_resnet152.py",
    "../_base_/schedules/adam_multistep.py",
]
