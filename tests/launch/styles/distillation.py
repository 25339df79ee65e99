"""PyTorch's tutorial on knowledge distillation: a teacher is trained, then a student of the frozen teacher."""

import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class DeepNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
        self.classifier = nn.Linear(24, 3)

    def forward(self, x):
        return self.classifier(self.features(x))


class LightNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.classifier = nn.Linear(6, 3)

    def forward(self, x):
        return self.classifier(self.features(x))


def train(model, train_loader, epochs, learning_rate):
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=learning_rate)
    model.train()
    for epoch in range(epochs):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
        print(f"Epoch {epoch + 1}/{epochs}, Loss: {loss.item():.4f}")


def test(model, test_loader):
    model.eval()
    with torch.no_grad():
        correct = sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"Test Accuracy: {100 * correct / len(test_loader.dataset):.2f}%")


def train_knowledge_distillation(teacher, student, train_loader, epochs, learning_rate, T=2):
    ce_loss = nn.CrossEntropyLoss()
    optimizer = optim.Adam(student.parameters(), lr=learning_rate)
    teacher.eval()
    student.train()
    for epoch in range(epochs):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            student_logits = student(inputs)
            soft_targets = nn.functional.softmax(teacher_logits / T, dim=-1)
            soft_prob = nn.functional.log_softmax(student_logits / T, dim=-1)
            soft_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size()[0] * (T**2)
            loss = 0.25 * soft_loss + 0.75 * ce_loss(student_logits, labels)
            loss.backward()
            optimizer.step()
        print(f"Epoch {epoch + 1}/{epochs}, Loss: {loss.item():.4f}")


torch.manual_seed(42)
x = torch.randn(200, 8)
y = x[:, :3].argmax(1)
train_loader = DataLoader(TensorDataset(x[:160], y[:160]), batch_size=20, shuffle=True)
test_loader = DataLoader(TensorDataset(x[160:], y[160:]), batch_size=20, shuffle=False)
nn_deep = DeepNN()
train(nn_deep, train_loader, epochs=3, learning_rate=0.01)
test(nn_deep, test_loader)
nn_light = LightNN()
train_knowledge_distillation(nn_deep, nn_light, train_loader, epochs=3, learning_rate=0.01)
test(nn_light, test_loader)
print(fingerprint(nn_deep, nn_light))
