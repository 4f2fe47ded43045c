_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas_512x512.py",
    "../_base_/models/farnet_resnet152.py",
    "../_base_/schedules/adam_multistep.py",
]

model = dict(head=dict(num_landmarks=37))
