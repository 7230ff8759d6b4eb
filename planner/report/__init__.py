"""What people read: a plan as text, several plans side by side, a picture. All of it from the plan alone.

Commands load the module that they need when they need it: tables and pictures take longer to load than small plans
take to make.
"""
