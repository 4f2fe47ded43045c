_base_ = ["cc2d_vgg19_isbi2015_384x384.py", "../_base_/models/cc2d_student.py"]

# Ten times as many images are an epoch of the publication; 90 of them. Its program makes no augmentation.
stages = [
    _base_.ssl,
    dict(
        _base_.tpl,
        train_dataloader=dict(
            batch_size=4,
            sampler=_base_.with_template,
            dataset=dict(unlabelled=False, ids=["125"]),
            unlabelled=dict(ids=[f"{number:03}" for number in range(1, 151) if number != 125]),
        ),
        train_cfg=dict(max_epochs=900, val_interval=90),
        default_hooks=dict(checkpoint=dict(interval=10)),
        optim_wrapper=dict(optimizer=dict(lr=3e-4)),
        param_scheduler=[dict(type="StepLR", step_size=300, gamma=0.1, by_epoch=True)],
    ),
]
