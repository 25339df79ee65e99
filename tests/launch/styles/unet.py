"""Pytorch-UNet: skip connections, a Dice loss, validation twice within every epoch."""

import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes):
        super().__init__()
        self.n_classes = n_classes
        self.inc = DoubleConv(n_channels, 4)
        self.down = nn.Sequential(nn.MaxPool2d(2), DoubleConv(4, 8))
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.conv = DoubleConv(8, 4)
        self.outc = nn.Conv2d(4, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(x1)
        return self.outc(self.conv(torch.cat([x1, self.up(x2)], dim=1)))


def dice_loss(input, target, epsilon=1e-6):
    inter = 2 * (input * target).sum(dim=(-1, -2))
    sets_sum = input.sum(dim=(-1, -2)) + target.sum(dim=(-1, -2))
    return 1 - ((inter + epsilon) / (sets_sum + epsilon)).mean()


@torch.inference_mode()
def evaluate(net, dataloader):
    net.eval()
    dice_score = 0
    for image, mask_true in dataloader:
        mask_pred = (torch.sigmoid(net(image)) > 0.5).float()
        dice_score += 1 - dice_loss(mask_pred.squeeze(1), mask_true)
    net.train()
    return dice_score / max(len(dataloader), 1)


def train_model(model, epochs=3, batch_size=8, learning_rate=1e-2, val_percent=0.2):
    images = torch.randn(80, 1, 8, 8)
    dataset = TensorDataset(images, (F.avg_pool2d(images, 3, 1, 1).squeeze(1) > 0).float())
    n_val = int(len(dataset) * val_percent)
    n_train = len(dataset) - n_val
    train_set, val_set = random_split(dataset, [n_train, n_val], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train_set, shuffle=True, batch_size=batch_size)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, batch_size=batch_size)
    optimizer = optim.RMSprop(model.parameters(), lr=learning_rate, momentum=0.9, foreach=True)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    grad_scaler = torch.amp.GradScaler("cpu", enabled=False)
    criterion = nn.BCEWithLogitsLoss()
    global_step = 0
    for epoch in range(1, epochs + 1):
        model.train()
        for images, true_masks in train_loader:
            masks_pred = model(images)
            loss = criterion(masks_pred.squeeze(1), true_masks)
            loss += dice_loss(torch.sigmoid(masks_pred.squeeze(1)), true_masks)
            optimizer.zero_grad(set_to_none=True)
            grad_scaler.scale(loss).backward()
            grad_scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            grad_scaler.step(optimizer)
            grad_scaler.update()
            global_step += 1
            division_step = n_train // (2 * batch_size)
            if division_step > 0 and global_step % division_step == 0:
                val_score = evaluate(model, val_loader)
                scheduler.step(val_score)
                print(f"epoch {epoch} step {global_step}: Validation Dice score: {val_score.item():.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    model = UNet(n_channels=1, n_classes=1)
    train_model(model=model)
    print(fingerprint(model))
