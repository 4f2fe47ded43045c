_base_ = ["./unet4_isbi2015_512x512.py"]

stages = [
    dict(name="teacher", model=_base_.unet5),
    dict(name="student", model=_base_.fast_kd, custom_hooks=[dict(type="TeacherHook")]),
]
