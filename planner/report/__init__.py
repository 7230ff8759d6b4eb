"""Reports: a plan as text, several plans side by side, pictures. All of them are made from the plan alone.

Commands load these modules on demand: tables and pictures take longer to load than small plans take to make.
"""
