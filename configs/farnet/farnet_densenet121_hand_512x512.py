_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adam_multistep.py",
]

model = dict(head=dict(num_landmarks=37))
