_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/fsf_ld.py",
    "../_base_/schedules/adam_200epochs.py",
]

# All 400 films in parts of 6:2:2 by shipped lists, as in FSF-LD.
lists = "mmlandmark::fsf_ld/splits/isbi2015"
load = [dict(type="LoadImage", size=(512, 512), channels=1), dict(type="Resize", size=(512, 512))]
dataset = dict(_base_.dataset, _delete_=True, pipeline=[*load, *_base_.plain])
loader = dict(batch_size=4, num_workers=2, persistent_workers=True)
train_dataloader = dict(loader, dataset=dict(dataset, ids=f"{lists}/train.txt"))
val_dataloader = dict(loader, dataset=dict(dataset, ids=f"{lists}/test1.txt", test_mode=True))
test_dataloader = val_dataloader
allow_leaks = False

model = dict(head=dict(num_landmarks=19))
