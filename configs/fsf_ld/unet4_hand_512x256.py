_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas_512x256.py",
    "../_base_/models/fsf_ld.py",
    "../_base_/schedules/adam_200epochs.py",
]
