_base_ = ["./unet4_hand_512x256.py"]

stages = [
    dict(name="teacher", model=_base_.seg_unet5),
    dict(name="student", model=_base_.fast_kd, custom_hooks=[dict(type="TeacherHook")]),
]
