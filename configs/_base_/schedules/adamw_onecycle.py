# The schedule spans the training, however long train_cfg.max_epochs makes it.
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.01))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
]
