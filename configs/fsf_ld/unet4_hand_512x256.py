_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/hand_atlas.py",
    "../_base_/models/fsf_ld.py",
    "../_base_/schedules/adam_200epochs.py",
]

# Parts of 6:2:2 by shipped lists, as in FSF-LD. Height and width are scaled independently.
lists = "mmlandmark::fsf_ld/splits/hand_atlas"
load = [dict(type="LoadImage", size=(512, 256), channels=1), dict(type="Resize", size=(512, 256))]
dataset = dict(_base_.dataset, _delete_=True, pipeline=[*load, *_base_.plain])
train_dataloader = dict(batch_size=4, dataset=dict(dataset, ids=f"{lists}/train.txt"))
val_dataloader = dict(batch_size=4, dataset=dict(dataset, ids=f"{lists}/test1.txt", test_mode=True))
test_dataloader = val_dataloader
val_evaluator = [dict(metric, radii=(2, 2.5, 3, 4)) for metric in _base_.val_evaluator]
test_evaluator = val_evaluator
