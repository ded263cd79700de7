"""Stands in for Interbotix's packages where ALOHA is simulated: this folder comes first on the controller's path.

It is NOT the vendor's code: no more of the API than control/interbotix.py uses, with the same signatures (a test holds
them to the vendor's), over messages of standard types, since the vendor's are in no registry.
"""
