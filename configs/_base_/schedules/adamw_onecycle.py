# The schedule spans the whole training, however many epochs train_cfg.max_epochs sets.
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=5)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(type="AutocastOptimWrapper", optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.01))
one_cycle = dict(type="OneCycleLR", eta_max=2e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [one_cycle]
# For the custom_hooks of a leaf.
ema = dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.01, gamma=10, update_buffers=True)
