# C-F2: the adapters of CC2D-SLA-ATD find the landmarks roughly, both heads of FM-OSD place them.
_base_ = ["fm-osd_vit-s8_isbi2015_224x224.py"]

adapter = dict(
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(
        type="VGG",
        depth=19,
        pooled=True,
        frozen_stages=4,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19"),
    ),
    neck=dict(type="AdapterDecoder", widths=(128, 64, 128, 256), adapter_channels=16),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
    patches=dict(around="landmarks", one_landmark=True),
    template_view="patch",
)
model = dict(
    coarse=dict(_delete_=True, **adapter, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:last")),
    coarse_size=(384, 384),
    context=dict(_base_.model.coarse, _delete_=True),
    context_size=(277, 224),
)
# As c-adapter_vgg19_isbi2015_384x384: copies of the template and all other images, for every landmark.
read, square = dict(type="LoadImage", size=(960, 774), channels=1), dict(type="Resize", size=(384, 384))
others = dict(
    ids=[f"{number:03}" for number in range(1, 151) if number != 125], pipeline=[read, square, *_base_.plain]
)
passes = 19
labels = dict(type="PseudoLabelHook", first="random", interval=passes, selector=dict(type="KeepAll"))
squares = dict(batch_size=8, dataset=dict(pipeline=[read, square, *_base_.plain]))
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **adapter),
        train_dataloader=dict(
            batch_size=8,
            sampler=dict(_delete_=True, type="PartsInTurnSampler"),
            dataset=dict(dataset=dict(pipeline=[read, _base_.copied[0], square, *_base_.plain])),
            unlabelled=others,
        ),
        val_dataloader=squares,
        test_dataloader=squares,
        custom_hooks=[*_base_.custom_hooks, labels],
        train_cfg=dict(max_epochs=300 * passes, val_interval=300 * passes),
        default_hooks=dict(checkpoint=dict(interval=passes)),
        optim_wrapper=dict(optimizer=dict(lr=1e-4)),
    ),
    *_base_.stages,
]
