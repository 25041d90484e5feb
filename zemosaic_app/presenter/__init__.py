"""What the windows show and do, without any toolkit: Qt and Tk only draw it."""
