_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/spine_aasce2019.py",
    "../_base_/models/unet_laplace.py",
    "../_base_/schedules/adam_800epochs.py",
]

model = dict(head=dict(num_landmarks=68))
