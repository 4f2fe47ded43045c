_base_ = ["./unet4_hip_512x256.py"]

stages = [
    dict(name="teacher", model=_base_.seg_unet5),
    dict(name="student", model=_base_.fast_kd, custom_hooks=[dict(type="TeacherHook")]),
]
