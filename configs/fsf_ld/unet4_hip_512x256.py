_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hip.py",
    "../_base_/models/fsf_ld.py",
    "../_base_/schedules/adam_200epochs.py",
]

model = dict(head=dict(num_landmarks=5))
