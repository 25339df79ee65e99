"""skorch: a network within scikit-learn's interface."""

import numpy as np
import torch
from fingerprint import fingerprint
from sklearn.datasets import make_classification
from skorch import NeuralNetClassifier
from torch import nn

X, y = make_classification(300, 10, n_informative=5, random_state=0)
X, y = X.astype(np.float32), y.astype(np.int64)


class MyModule(nn.Module):
    def __init__(self, num_units=12, nonlin=nn.ReLU):
        super().__init__()
        self.dense0 = nn.Linear(10, num_units)
        self.nonlin = nonlin()
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(num_units, num_units)
        self.output = nn.Linear(num_units, 2)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X):
        X = self.nonlin(self.dense1(self.dropout(self.nonlin(self.dense0(X)))))
        return self.softmax(self.output(X))


torch.manual_seed(0)
net = NeuralNetClassifier(MyModule, max_epochs=4, lr=0.1, batch_size=32, iterator_train__shuffle=True, verbose=0)
net.fit(X, y)
for row in net.history:
    print(f"{row['epoch']} {row['train_loss']:.4f} {row['valid_acc']:.4f} {row['valid_loss']:.4f}")
print(f"{net.predict_proba(X)[:, 1].mean():.4f}")
print(fingerprint(net.module_))
