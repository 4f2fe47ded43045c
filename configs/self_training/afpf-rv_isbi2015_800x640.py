_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/afpf_rv.py",
    "../_base_/schedules/adam_200epochs.py",
    "../_base_/self_training_published.py",
]

load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
loader = dict(batch_size=1, num_workers=2, persistent_workers=True)
train_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.paper_augmented]))
val_dataloader = dict(loader, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader["dataset"], split="test"))
model = dict(head=dict(num_landmarks=19))
# Films without annotation; mm are those of the annotated ones.
others = dict(type="ImageFolderDataset", image_dir="{{$UNLABELLED_ROOT:data/unlabelled}}", spacing=0.1)
# Pre-trained by its own losses. From then on only the discs learn, so they alone are decoded.
discs = dict(head=dict(codec=dict(voting=False, decoder="integral"), loss=_base_.attention))
loader = dict(_base_.self_train["train_dataloader"], unlabelled=others)
stages = [
    _base_.pre_train,
    dict(_base_.self_train, model=discs, train_dataloader=loader),
    dict(_base_.fine_tune, model=discs),
]
