# The second stage of CC2D, CC2D-TPL: what the first one finds in images without annotation, once, is learnt
# from by a detector that needs no template. Discs of a twentieth of the image's width, and the way to their
# centre. A leaf sets the radius, in pixels of the map, and the backbone.
student = dict(
    _delete_=True,
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", mean=0.5, std=0.5, channels=3),
    backbone=dict(
        type="VGG",
        depth=19,
        pooled=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19"),
    ),
    neck=dict(
        type="UNetDecoder",
        widths=(128, 64, 128, 256),
        norm_cfg=dict(type="IN", affine=False),
        act_cfg=dict(type="ReLU", inplace=True),
    ),
    head=dict(
        type="HeatmapHead",
        num_landmarks=19,
        codec=dict(type="VotingCodec", radius=19, decoder="argmax"),
        loss=[dict(type="HeatmapBCELoss", gamma=1, loss_weight=2), dict(type="OffsetL1Loss")],
        upsample_to=2,
    ),
)
labels = dict(type="PseudoLabelHook", labeller="run:ssl:last", selector=dict(type="KeepAll"))
# The template is a quarter of every batch.
with_template = dict(_delete_=True, type="LabelledShareSampler", labelled=0.25)
ssl = dict(name="ssl")
tpl = dict(name="tpl", model=student, custom_hooks=[labels])
