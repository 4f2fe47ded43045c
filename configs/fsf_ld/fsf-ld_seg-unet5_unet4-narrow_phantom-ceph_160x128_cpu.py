_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/phantom_ceph.py",
    "../_base_/models/fsf_ld_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Both stages in some minutes of a CPU, without data.
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=4e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3)]
train_cfg = dict(max_epochs=12, val_interval=12)
stages = [
    dict(name="teacher", model=_base_.seg_unet5),
    dict(name="student", model=_base_.fsf_ld, custom_hooks=[dict(type="TeacherHook")]),
]
