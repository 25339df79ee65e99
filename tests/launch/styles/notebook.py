#!/usr/bin/env python
# coding: utf-8

# # Fitting a curve
# As nbconvert writes a notebook; the cell with the model was run twice.

# In[1]:


import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_ = torch.manual_seed(0)


# In[2]:


X = torch.linspace(-2, 2, 160)[:, None]
dl = DataLoader(TensorDataset(X, X.sin()), batch_size=20, shuffle=True)


# In[3]:


model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.Adam(model.parameters(), lr=1e-4)
for e in range(2):
    for xb, yb in dl:
        loss = ((model(xb) - yb) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
print(loss.item())


# In[4]:


model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.Adam(model.parameters(), lr=1e-2)
for e in range(4):
    for xb, yb in dl:
        loss = ((model(xb) - yb) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
print(loss.item())


# In[5]:


with torch.no_grad():
    preds = model(X)
print(preds[:3].flatten().tolist(), fingerprint(model))
