# CC2D-SSL: VGG19 without its classifier, embeddings of every pixel at five resolutions, and a template.
model = dict(
    type="TemplateDetector",
    # The published network is trained on pixels of 0 to 1.
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(
        type="VGG",
        depth=19,
        pooled=True,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19"),
    ),
    neck=dict(type="EmbeddingDecoder", widths=(128, 64, 128, 256)),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
)
