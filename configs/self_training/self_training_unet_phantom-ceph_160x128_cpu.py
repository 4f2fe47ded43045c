_base_ = ["../unet/unet_phantom-ceph_160x128_cpu.py", "../_base_/self_training.py"]

# The annotation of all but the first 20 images is hidden: only the report on the labels knows it.
train_dataloader = dict(dataset=dict(indices=20))
hidden = dict(indices=list(range(20, 100)))
loader = dict(_base_.self_train.train_dataloader, unlabelled=hidden)
agreed = dict(type="ShapeRegulator", way="agreement")
stages = [
    _base_.pre_train,
    dict(
        _base_.self_train,
        train_dataloader=loader,
        default_hooks=dict(pseudo_labels=dict(type="PseudoLabelHook", selector=agreed)),
    ),
    _base_.fine_tune,
]
