# Three stages, for any config of a detector with heatmaps: this file is one more line among its bases. The
# images without labels are those below $UNLABELLED_ROOT that the annotation has no row for.
attention = dict(_delete_=True, type="RegionAttentionLoss", beta=2.0)
# A pseudo label is of none of several annotators: their mean is learnt, in all stages.
mean = dict(num_annotators=1)
# A network that has found the landmarks learns slowly: the loss lets maps spread.
slow = dict(
    model=dict(head=dict(mean, loss=attention)),
    optim_wrapper=dict(optimizer=dict(lr=2e-4)),
    param_scheduler=[
        dict(type="OneCycleLR", eta_max=2e-4, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
    ],
)
pre_train = dict(name="pre_train", model=dict(head=mean))
self_train = dict(
    slow,
    name="self_train",
    load_from="run:pre_train:last",
    train_dataloader=dict(
        sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
        unlabelled=dict(type="ImageFolderDataset", image_dir="{{$UNLABELLED_ROOT:data/unlabelled}}"),
    ),
    # Among the default hooks, so that the hooks of the config stay.
    default_hooks=dict(
        pseudo_labels=dict(type="PseudoLabelHook", selector=dict(type="ShapeRegulator", way="adjustment"))
    ),
)
fine_tune = dict(slow, name="fine_tune", load_from="run:self_train:last")
stages = [pre_train, self_train, fine_tune]
